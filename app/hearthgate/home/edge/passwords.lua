-- Ask the agent whether a password is right, while the request waits.
--
--   txn ──▶ "cottage.example.com 198.51.100.7 70617373\n" ──▶ passwords.sock
--       ◀── "right\n", "wrong\n", "limited\n", "busy\n"   ──▶ txn.verdict
--
-- No answer is no verdict, and without one nobody is let in (access.py). HAProxy hashes
-- nothing: a hash takes milliseconds, in which a thread would serve nobody else.

-- Limits come with each call: HAProxy 2.6 drops the arguments of lua-load.

local SOCKET = "unix@passwords.sock"

local second, asked = 0, 0

-- Strangers with many addresses must not keep the agent busy with questions.
local function may_ask(asks_per_second)
  local now = core.now().sec
  if now ~= second then
    second, asked = now, 0
  end
  asked = asked + 1
  return asked <= asks_per_second
end

local function ask_agent(txn, hostname, asks_per_second, patience_s)
  if not may_ask(tonumber(asks_per_second)) then
    return
  end
  local password = txn.c:hex(txn.f:http_auth_pass())
  -- Made last: a socket that is never connected ends HAProxy 2.6 when it is collected.
  local socket = core.tcp()
  socket:settimeout(tonumber(patience_s))
  if socket:connect(SOCKET) then
    socket:send(hostname .. " " .. txn.f:src() .. " " .. password .. "\n")
    local verdict = socket:receive("*l")
    if verdict then
      txn:set_var("txn.verdict", verdict)
    end
  end
  socket:close()
end

core.register_action("ask_agent", { "http-req" }, ask_agent, 3)
