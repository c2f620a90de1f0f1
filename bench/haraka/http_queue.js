// Posts each message to BENCH_SINK over kept connections, and takes it once the answer has come.
"use strict";

const http = require("node:http");

const agent = new http.Agent({ keepAlive: true });
const sink = process.env.BENCH_SINK;

exports.register = function () {
  this.register_hook("rcpt", "take");
  this.register_hook("queue", "post");
};

exports.take = (next) => next(OK);

exports.post = (next, connection) => {
  const { mail_from, rcpt_to, message_stream } = connection.transaction;
  const headers = {
    "content-type": "message/rfc822",
    "x-envelope-from": mail_from.address,
    "x-envelope-to": rcpt_to.map((recipient) => recipient.address).join(","),
  };
  const request = http.request(sink, { method: "POST", agent, headers }, (answer) => {
    answer.resume();
    answer.on("end", () => next(answer.statusCode < 300 ? OK : DENYSOFT));
  });
  request.on("error", (error) => next(DENYSOFT, error.message));
  message_stream.pipe(request);
};
