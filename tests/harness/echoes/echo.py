"""Say what was received, as CGI would and line by line: echo.py PORT."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
import re
import sys


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):  # any method
            return self._answer
        raise AttributeError(name)

    def log_message(self, *words: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        seen = [["REQUEST", self.requestline]]
        for name, value in self.headers.items():
            seen.append([name, value])
            seen.append(["HTTP_" + re.sub(r"[^A-Z0-9]", "_", name.upper()), value])
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            seen += [["TRAILER", line] for line in self._trailers()]
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps({"seen": seen}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _trailers(self) -> list[str]:
        while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
            self.rfile.read(size + 2)
        lines = []
        while line := self.rfile.readline().strip():
            lines.append(line.decode("latin-1"))
        return lines


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Echo).serve_forever()
