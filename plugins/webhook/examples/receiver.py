"""A receiver that verifies who asks: pip install standardwebhooks; WEBHOOK_SECRET=whsec_… python receiver.py"""
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from standardwebhooks.webhooks import Webhook, WebhookVerificationError


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            Webhook(os.environ["WEBHOOK_SECRET"]).verify(body, {name.lower(): value for name, value in self.headers.items()})
        except WebhookVerificationError:
            return self.send_error(401)
        event = json.loads(body)
        print(event["type"], event["subject"], event["id"], flush=True)  # the same id may come again
        self.send_response(204)
        self.end_headers()


ThreadingHTTPServer(("localhost", 9000), Receiver).serve_forever()
