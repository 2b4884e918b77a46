"""Signs requests with botocore as the clock stands at the time each request names.

Usage: botocore_sign.py REQUESTS.json ANSWERS.json

A request has method, url, headers (list of pairs), body (hex), service, region, access_key_id, secret_access_key,
session_token, time, optionally params (list of pairs, decoded: then botocore encodes the query itself), s3, unsigned.
An answer has canonical_request, string_to_sign, signature, authorization.
"""
import datetime
import json
import sys
import types

import botocore
import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


class Pairs:
    """What AWSRequest takes headers from: a mapping would lose repeated names."""

    def __init__(self, pairs):
        self.pairs = pairs

    def items(self):
        return [tuple(pair) for pair in self.pairs]


def freeze(seconds):
    """botocore.auth sees a datetime module whose clock stands still."""
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)

    class Clock(datetime.datetime):
        @classmethod
        def utcnow(cls):
            return moment

        @classmethod
        def now(cls, tz=None):
            return moment.replace(tzinfo=tz)

    botocore.auth.datetime = types.SimpleNamespace(datetime=Clock)
    if hasattr(botocore.auth, "get_current_datetime"):
        botocore.auth.get_current_datetime = lambda *args, **kwargs: moment


def sign(case):
    freeze(case["time"])
    credentials = Credentials(case["access_key_id"], case["secret_access_key"], case.get("session_token"))
    signer_class = botocore.auth.S3SigV4Auth if case.get("s3") else botocore.auth.SigV4Auth
    signer = signer_class(credentials, case["service"], case["region"])
    request = AWSRequest(
        method=case["method"],
        url=case["url"],
        headers=Pairs(case["headers"] or []),
        data=bytes.fromhex(case["body"]),
        params=[tuple(pair) for pair in case.get("params") or []] or None,
    )
    if case.get("unsigned"):
        request.context["payload_signing_enabled"] = False
    answer = {}

    def keep(name):
        inner = getattr(signer, name)

        def outer(*args):
            answer[name] = inner(*args)
            return answer[name]

        setattr(signer, name, outer)

    for name in ("canonical_request", "string_to_sign", "signature"):
        keep(name)
    signer.add_auth(request)
    answer["authorization"] = request.headers["Authorization"]
    return answer


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    answers = [sign(case) for case in cases]
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump({"version": botocore.__version__, "answers": answers}, file)


main()
