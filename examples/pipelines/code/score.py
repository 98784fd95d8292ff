import json

import idna


def init():
    pass


def run(raw_data):
    return [idna.encode(name).decode() for name in json.loads(raw_data)["data"]]
