"""A server that stands in for azureml-inference-server-http in a local index, since that one is not offline.

It answers as the real one: GET / when init() has returned, POST /score with run(), 500 if it raises.
"""

from __future__ import annotations

from pathlib import Path

from support.wheels import make_wheel

__all__ = ["make_server"]

_SERVER = """\
import argparse, http.server, importlib.util, json, os, sys


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--entry_script")
    parser.add_argument("--port", type=int)
    args = parser.parse_args()
    root = os.environ.get("AML_APP_ROOT") or os.getcwd()
    sys.path.append(root)
    sys.path.append(os.path.join(root, os.environ.get("AZUREML_SOURCE_DIRECTORY", "")))
    spec = importlib.util.spec_from_file_location("entry", os.path.join(root, args.entry_script))
    entry = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(entry)
    entry.init()
    print("init() has returned", flush=True)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(200, b"Healthy")

        def do_POST(self):
            data = self.rfile.read(int(self.headers["Content-Length"])).decode()
            try:
                self.answer(200, json.dumps(entry.run(data)).encode())
            except Exception as error:
                self.answer(500, str(error).encode())

        def answer(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    http.server.HTTPServer(("127.0.0.1", args.port), Handler).serve_forever()
"""


def make_server(folder: Path, version: str = "0.8.4.2") -> None:
    """Write the wheel of the server to the directory of an index."""
    make_wheel(
        folder,
        "azureml-inference-server-http",
        version,
        {
            "azureml_inference_server_http/__init__.py": "",
            "azureml_inference_server_http/amlserver.py": _SERVER,
        },
        entry_points="[console_scripts]\nazmlinfsrv=azureml_inference_server_http.amlserver:run\n",
    )
