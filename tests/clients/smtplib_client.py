#!/usr/bin/env python3
"""Sends one message by Python's smtplib. Reads an order as JSON from stdin:

    {"host", "port", "ca": file | null, "user", "password": text | null, "from", "to": [text], "file", "options": [text]}

Prints nothing and exits with 0 if it was taken; otherwise what it was told, and 1.
"""

import json
import smtplib
import ssl
import sys

PATIENCE = 60


def send(order):
    with smtplib.SMTP(order["host"], order["port"], "client.test", PATIENCE) as client:
        if order["ca"]:
            client.starttls(context=ssl.create_default_context(cafile=order["ca"]))
        if order["user"] is not None:
            client.login(order["user"], order["password"])
        with open(order["file"], "rb") as file:
            refused = client.sendmail(order["from"], order["to"], file.read(), order["options"])
        if refused:
            raise smtplib.SMTPRecipientsRefused(refused)


try:
    send(json.load(sys.stdin))
except smtplib.SMTPException as error:
    print(error)
    sys.exit(1)
