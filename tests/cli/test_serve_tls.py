"""hunch serve over TLS, with certificates that openssl makes here."""
import http.client
import json
import os
import shutil
import ssl
import subprocess
import time
import unittest

from serving import DEMO, GREEDY, Server, ServeTest, post


class ServeTls(ServeTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not shutil.which("openssl"):
            raise unittest.SkipTest("there is no openssl to make certificates with")
        cls.files = {}
        for name in "own", "other":
            cls.files[name] = key, cert = [os.path.join(cls.dir, f"{name}.{kind}.pem") for kind in ("key", "cert")]
            cls.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert,
                        "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        cls.key, cls.cert = cls.files["own"]
        cls.locked = os.path.join(cls.dir, "locked.pem")
        cls.openssl("ec", "-in", cls.key, "-aes256", "-passout", "pass:secret", "-out", cls.locked)
        found = subprocess.run([os.environ["HUNCH_BINARY"], "serve", cls.opt, "--tls-cert", cls.cert, "--tls-key", os.path.join(cls.dir, "none"), "--quiet"],
                               capture_output=True, check=False, timeout=60)
        cls.is_built = b"without OpenSSL" not in found.stderr

    @staticmethod
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def serve(self, *arguments, model=None):
        if not self.is_built:
            self.skipTest("hunch was built without OpenSSL")
        server = Server(self, "--tls-cert", self.cert, "--tls-key", self.key, *arguments, model=model)
        server.context = ssl.create_default_context(cafile=self.cert)
        return server

    def connect(self, server):
        return server.context.wrap_socket(server.connect(), server_hostname="localhost")

    def test_answers(self):
        alone = self.run_alone("the end of", 12)["text"]
        with self.serve() as server:
            self.assertTrue(server.url.startswith("https://"))
            body = {"prompt": "the end of", "max_tokens": 12, **GREEDY}
            self.assertEqual(server.json("/v1/completions", body)["choices"][0]["text"], alone)
            self.assertEqual("".join(c["text"] for e in server.stream("/v1/completions", body) for c in e["choices"]), alone)
            # Several requests on one connection, a large one among them.
            connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=server.context, timeout=60)
            for text in "a", "the " * 50000, "b":
                connection.request("POST", "/tokenize", json.dumps({"content": text}))
                answer = connection.getresponse()
                self.assertEqual(answer.status, 200)
                self.assertGreater(len(json.loads(answer.read())["tokens"]), 0)
            connection.close()
            with self.connect(server) as s:
                data = json.dumps({"content": "the"}).encode()
                s.sendall(b"POST /tokenize HTTP/1.1\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(data))
                self.assertEqual(s.recv(1000), b"HTTP/1.1 100 Continue\r\n\r\n")
                s.sendall(data)
                with s.makefile("rb") as f:
                    self.assertIn(b" 200 ", f.read())
            self.assertEqual(server.end(), 0)
            self.assertNotIn("AddressSanitizer", "".join(server.lines))
            self.assertNotIn("runtime error", "".join(server.lines))

    def test_versions(self):
        with self.serve() as server:
            for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
                server.context.minimum_version = server.context.maximum_version = version
                with self.connect(server) as s:
                    self.assertEqual(s.version(), version.name.replace("_", "."))
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.load_verify_locations(self.cert)
            old.set_ciphers("ALL:@SECLEVEL=0")
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
            with self.assertRaises(ssl.SSLError):
                old.wrap_socket(server.connect(), server_hostname="localhost")
            server.context = ssl.create_default_context(cafile=self.cert)
            self.assertEqual(server.end(), 0)

    def test_who_speaks_no_tls(self):
        with self.serve() as server:
            stalled = server.connect()  # says nothing
            answer = server.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b" 400 ", answer)
            self.assertIn(b"https://", answer)
            self.assertNotIn(b" 200 ", server.raw(b"\x00\x01nonsense" * 10))
            self.assertNotIn(b" 200 ", server.raw(b"\x16\x03\x01\x00\x05hello"))
            self.assertEqual(server.json("/health"), {"status": "ok"})
            stalled.close()
            end = time.time() + 20
            while server.metric("hunch:connections") > 1 and time.time() < end:
                time.sleep(0.02)
            self.assertEqual(server.metric("hunch:connections"), 1)
            self.assertEqual(server.end(), 0)

    def test_clients_that_leave(self):
        with self.serve("--parallel", "2", model=DEMO) as server:
            for stream in True, False:
                for polite in True, False:
                    s = self.connect(server)
                    s.sendall(post("/v1/completions", {"prompt": "the end", "max_tokens": 190, "stream": stream, **GREEDY}))
                    if stream:
                        self.assertIn(b" 200 ", s.recv(1000))
                    if polite:  # says goodbye first
                        s.setblocking(False)
                        try:
                            s.unwrap()
                        except (ssl.SSLError, OSError):
                            pass
                    s.close()
            end = time.time() + 30
            while server.metric("hunch:jobs_total") < 4 and time.time() < end:
                time.sleep(0.02)
            self.assertEqual(server.metric("hunch:jobs_cancelled_total"), 4)
            self.assertEqual(server.end(), 0)

    def test_limits(self):
        with self.serve("--max-body", "1") as server:
            s = self.connect(server)
            s.sendall(b"POST /tokenize HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n")
            with s.makefile("rb") as f:
                self.assertIn(b" 413 ", f.read())
            s.close()
            idle = [self.connect(server) for _ in range(50)]
            self.assertGreaterEqual(server.metric("hunch:connections"), 50)
            for s in idle:
                s.close()
            self.assertEqual(server.end(), 0)

    def test_files(self):
        if not self.is_built:
            self.refused(1, "serve", self.opt, "--tls-cert", self.cert, "--tls-key", self.key, says="built without OpenSSL")
            return
        other_key, other_cert = self.files["other"]
        noise = self.write("noise.pem", b"-----BEGIN CERTIFICATE-----\nnoise\n")
        with_key = ("--tls-key", self.key)
        self.refused(2, "serve", self.opt, *with_key, says="the certificate (tls-cert) is missing")
        self.refused(2, "serve", self.opt, "--tls-cert", self.cert, says="the key (tls-key) is missing")
        self.refused(1, "serve", self.opt, "--tls-cert", self.path("none.pem"), *with_key, says="none.pem' (tls-cert) cannot be read")
        self.refused(1, "serve", self.opt, "--tls-cert", noise, *with_key, says="noise.pem' (tls-cert) is none in PEM")
        self.refused(1, "serve", self.opt, "--tls-cert", self.cert, "--tls-key", noise, says="noise.pem' (tls-key) is none in PEM")
        self.refused(1, "serve", self.opt, "--tls-cert", self.cert, "--tls-key", self.locked, says="locked.pem' (tls-key) is encrypted")
        self.refused(1, "serve", self.opt, "--tls-cert", self.cert, "--tls-key", other_key, says="is not that of the certificate")
        self.refused(1, "serve", self.opt, "--tls-cert", other_cert, *with_key, says="is not that of the certificate")


if __name__ == "__main__":
    unittest.main()
