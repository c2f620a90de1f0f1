// Sends one message by nodemailer: reads the order that smtplib_client.py describes, without its options. Finds nodemailer by
// NODE_PATH.
const { readFileSync } = require("fs");
const { createTransport } = require("nodemailer");

const order = JSON.parse(readFileSync(0, "utf8"));
const transport = createTransport({
  host: order.host,
  port: order.port,
  name: "client.test",
  secure: false,
  requireTLS: order.ca !== null,
  ignoreTLS: order.ca === null,
  tls: order.ca === null ? {} : { ca: readFileSync(order.ca) },
  auth: order.user === null ? undefined : { user: order.user, pass: order.password },
});
const envelope = { from: order.from, to: order.to };
transport.sendMail({ envelope, raw: readFileSync(order.file) }, (error, told) => {
  const refused = error || told.rejectedErrors?.[0];
  if (refused) {
    console.log(refused.response || refused.message);
    process.exitCode = 1;
  }
  transport.close();
});
