# Say what was received: ruby echo.rb PORT
require "json"
require "webrick"

class Echo < WEBrick::HTTPServlet::AbstractServlet
  def service(request, response)
    begin
      request.body # with it come the trailers
    rescue WEBrick::HTTPStatus::LengthRequired
      nil
    end
    seen = [["REQUEST", request.request_line.to_s]]
    request.each { |name, value| seen << [name, value] }
    request.meta_vars.each { |name, value| seen << [name, value.to_s] }
    seen.each { |pair| pair.each { |word| word.replace(word.dup.force_encoding("UTF-8").scrub) unless word.frozen? } }
    response.status = 200
    response["Content-Type"] = "application/json"
    response.body = JSON.generate({ "seen" => seen })
  end
end

server = WEBrick::HTTPServer.new(
  BindAddress: "127.0.0.1", Port: ARGV[0].to_i,
  Logger: WEBrick::Log.new(File::NULL), AccessLog: []
)
server.mount("/", Echo)
server.start
