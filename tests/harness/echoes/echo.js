// Say what was received, and switch to whatever is asked for: node echo.js PORT
const { createHash } = require("crypto");
const http = require("http");

const seen = (request) => {
  const raw = [...request.rawHeaders, ...request.rawTrailers];
  const pairs = [["REQUEST", `${request.method} ${request.url}`]];
  for (let i = 0; i < raw.length; i += 2) pairs.push([raw[i], raw[i + 1]]);
  for (const [name, value] of Object.entries(request.headers)) pairs.push([name, String(value)]);
  return JSON.stringify({ seen: pairs });
};

const server = http.createServer({ maxHeaderSize: 256 * 1024 }, (request, response) => {
  request.resume();
  request.on("end", () => {
    response.setHeader("Content-Type", "application/json");
    response.end(seen(request));
  });
});

// RFC 6455 §4.2.2; HAProxy looks at it.
const accept = (request) => createHash("sha1")
  .update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
  .digest("base64");

const open = (request, socket) => {
  socket.on("error", () => {});
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\n"
    + `Connection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\n`
    + `Sec-WebSocket-Accept: ${accept(request)}\r\n`
    + `X-Seen: ${Buffer.from(seen(request)).toString("base64")}\r\n\r\n`,
  );
  socket.on("data", (data) => socket.write(data));
};
server.on("upgrade", open);
server.on("connect", (request, socket) => {
  socket.on("error", () => {});
  socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
  socket.on("data", (data) => socket.write(data));
});
server.listen(Number(process.argv[2]), "127.0.0.1");
