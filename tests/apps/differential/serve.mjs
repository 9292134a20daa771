// Answers every request with what it was read as, in the ways of Node's libraries.
import http from "node:http";
import path from "node:path";
import url from "node:url";

const attempt = (read) => {
  try {
    return read();
  } catch {
    return "";
  }
};

function readings(sent) {
  const legacy = attempt(() => url.parse(sent).pathname ?? "");
  const standard = attempt(() => new URL(sent, "http://localhost").pathname);
  const decoded = [sent.split("?")[0], legacy, standard].flatMap((text) => [
    text,
    attempt(() => decodeURIComponent(text)),
  ]);
  return decoded.flatMap((text) => [text, path.posix.normalize(text), path.win32.normalize(text)]);
}

const folded = (name) => name.toLowerCase().replace(/[^a-z0-9]/g, "-");

const server = http.createServer({ insecureHTTPParser: process.argv[2] === "lenient" }, (request, response) => {
  const identity = Object.entries(request.headers)
    .filter(([name]) => ["remote-user", "remote-groups", "x-forwarded-user"].includes(folded(name)))
    .map(([, value]) => value);
  request.resume();
  request.on("end", () => {
    const lines = [
      ...readings(request.url).map((reading) => `x-reading: ${encodeURIComponent(reading)}`),
      `x-identity: ${identity.join()}`,
    ];
    const body = lines.join("\n") + "\n";
    response.writeHead(200, {
      "content-length": Buffer.byteLength(body),
      "x-case": request.headers["x-case"] ?? "",
      "x-encoded": "yes",
    });
    response.end(body);
  });
});
server.keepAliveTimeout = 120_000;
server.listen(0, "127.0.0.1", () => console.log(`listens on ${server.address().port}`));
