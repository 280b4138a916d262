-- Refuse a request that ends in trailers: HAProxy before 3.2 has no option to drop them.
--
--   … DATA DATA [TRAILER TRAILER END] ─▶ 400, the service sees a request that breaks off
--   … DATA DATA [END] or nothing      ─▶ passes, as it comes, nothing is held back
--
-- A trailer is a header that comes behind the body, where no rule looks any more. Many a
-- server makes it one of the request's headers. No function of Lua's removes one, but a
-- filter may end a request before its last part leaves HAProxy.

local no_trailers = { id = "no trailers", flags = filter.FLT_CFG_FL_HTX }
no_trailers.__index = no_trailers

function no_trailers:new()
  return setmetatable({}, no_trailers)
end

function no_trailers:http_headers(_, message)
  if not message:is_resp() then
    filter.register_data_filter(self, message.channel)
  end
end

function no_trailers:http_payload(_, message)
  if message:is_resp() then
    return
  end
  -- What is no body reads as nil. The end of a chunked body counts as one byte.
  local size = message:input()
  if size > 1 and message:body(size - 1, 1) == nil and message:body(size - 2, 1) == nil then
    self.found = true
    if not message:eom() then
      return 0
    end
  end
end

-- Comes between the decision to send the last part and the sending.
function no_trailers:http_end(_, _)
  if self.found then
    return filter.ERROR
  end
end

core.register_filter("no_trailers", no_trailers, function(self, _)
  return self
end)
