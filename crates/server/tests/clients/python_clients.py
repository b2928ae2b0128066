#!/usr/bin/env python3
"""The main paths of Python's stock etcd clients against a running member: `etcd3` over gRPC, `etcd3gw` over the JSON
gateway (what OpenStack uses). Patroni's requests are made as Patroni makes them, with nothing but HTTP.

    python_clients.py HOST PORT

Exit status 0 if everything that could be run gave what a real etcd gives. A part that the member does not serve
(gRPC's UNIMPLEMENTED) and a client that is not installed are left out with a line that says so.
"""
import base64
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request

# The generated code of etcd3 0.12 is older than the protobuf library that is installed with it.
os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")

host, port = sys.argv[1], int(sys.argv[2])
failed = []


class NotServed(Exception):
    """The member answers UNIMPLEMENTED."""


def part(name):
    """Runs a function now and says how it went."""

    def run(function):
        try:
            function()
            print(f"ok      {name}")
        except NotServed as why:
            print(f"skipped {name}: {why}")
        except ImportError as why:
            print(f"skipped {name}: {why}")
        except Exception as error:  # Whatever a client makes of a wrong answer.
            if "unimplemented" in repr(error).lower() or "Not Implemented" in repr(error):
                print(f"skipped {name}: this member does not serve it")
                return
            print(f"FAILED  {name}: {error!r}")
            failed.append(name)

    return run


def equal(got, wanted):
    assert got == wanted, f"{got!r} instead of {wanted!r}"


def b64(text):
    return base64.b64encode(text.encode()).decode()


def post(path, body, headers=None):
    """What Patroni does: JSON out, JSON in."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"http://{host}:{port}{path}", data, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        body = json.load(error)
        if body.get("code") == 12:
            raise NotServed(body["message"]) from error
        return body


@part("patroni: version, members, compare-and-put, range")
def _():
    with urllib.request.urlopen(f"http://{host}:{port}/version", timeout=10) as answer:
        version = json.load(answer)["etcdserver"]
    assert tuple(int(number) for number in version.split(".")) >= (3, 4, 0), version
    # A member tells its client URLs once it serves.
    deadline = time.monotonic() + 10
    while "clientURLs" not in post("/v3/cluster/member/list", {})["members"][0]:
        assert time.monotonic() < deadline, "no client URLs"
    key = b64("/service/demo/leader")
    create = {
        "compare": [{"target": "CREATE", "result": "EQUAL", "key": key, "create_revision": "0"}],
        "success": [{"request_put": {"key": key, "value": b64("one")}}],
    }
    equal(post("/v3/kv/txn", create).get("succeeded"), True)
    equal(post("/v3/kv/txn", create).get("succeeded"), None)
    prefix = {"key": b64("/service/demo/"), "range_end": b64("/service/demo0"), "serializable": True}
    [kv] = post("/v3/kv/range", prefix)["kvs"]
    equal((kv["key"], kv["value"], kv["version"]), (key, b64("one"), "1"))
    update = {
        "compare": [{"target": "MOD", "result": "EQUAL", "key": key, "mod_revision": kv["mod_revision"]}],
        "success": [{"request_put": {"key": key, "value": b64("two")}}],
    }
    equal(post("/v3/kv/txn", update).get("succeeded"), True)
    equal(post("/v3/kv/deleterange", {"key": key})["deleted"], "1")
    equal(post("/v3/kv/range", {"key": ""})["code"], 3)


@part("patroni: lease, keep-alive")
def _():
    lease = post("/v3/lease/grant", {"TTL": 30})["ID"]
    equal(post("/v3/lease/keepalive", {"ID": lease})["result"]["TTL"], "30")
    post("/v3/kv/put", {"key": b64("leased"), "value": b64("x"), "lease": lease})
    post("/v3/lease/revoke", {"ID": lease})
    equal(post("/v3/kv/range", {"key": b64("leased")}).get("kvs"), None)
    equal(post("/v3/lease/keepalive", {"ID": lease})["result"].get("TTL"), None)


@part("patroni: watch as a stream")
def _():
    body = {"create_request": {"key": b64("watched/"), "range_end": b64("watched0")}}
    try:
        request = urllib.request.Request(f"http://{host}:{port}/v3/watch", json.dumps(body).encode())
        stream = urllib.request.urlopen(request, timeout=10)
    except urllib.error.HTTPError as error:
        raise NotServed(json.load(error)["message"]) from error
    with stream:
        assert json.loads(stream.readline())["result"]["created"]
        post("/v3/kv/put", {"key": b64("watched/a"), "value": b64("1")})
        [event] = json.loads(stream.readline())["result"]["events"]
        equal(event["kv"]["value"], b64("1"))


@part("etcd3: put, get, prefixes, transactions, compaction")
def _():
    import etcd3

    client = etcd3.client(host=host, port=port, timeout=10)
    for i in range(3):
        client.put(f"py/{i}", f"v{i}")
    equal(client.get("py/1")[0], b"v1")
    equal([value for value, _ in client.get_prefix("py/", sort_order="descend")], [b"v2", b"v1", b"v0"])
    done, answers = client.transaction(
        compare=[client.transactions.value("py/1") == "v1", client.transactions.version("py/9") == 0],
        success=[client.transactions.put("py/9", "new"), client.transactions.get("py/9")],
        failure=[],
    )
    equal((done, answers[1][0][0]), (True, b"new"))
    equal(client.replace("py/1", "v1", "w1"), True)
    equal(client.replace("py/1", "v1", "x1"), False)
    equal(client.delete_prefix("py/").deleted, 4)
    equal(client.get("py/1")[0], None)
    assert client.status().leader.name, "no leader"
    client.compact(client.get_response("py/1").header.revision)


@part("etcd3: lease")
def _():
    import etcd3

    client = etcd3.client(host=host, port=port, timeout=10)
    lease = client.lease(30)
    client.put("py-leased", "x", lease=lease)
    equal(lease.keys, [b"py-leased"])
    assert 0 < lease.remaining_ttl <= 30 and lease.granted_ttl == 30
    assert lease.refresh()[0].TTL == 30
    lease.revoke()
    equal(client.get("py-leased")[0], None)


@part("etcd3: watch")
def _():
    import etcd3

    client = etcd3.client(host=host, port=port, timeout=10)
    events, cancel = client.watch_prefix("py-watched/")
    client.put("py-watched/a", "1")
    client.delete("py-watched/a")
    seen = [type(next(events)).__name__ for _ in range(2)]
    cancel()
    equal(seen, ["PutEvent", "DeleteEvent"])


@part("etcd3: lock")
def _():
    import etcd3

    client = etcd3.client(host=host, port=port, timeout=10)
    for _ in range(2):
        # A second one at the same time would not work on any server: this version's way of waiting is broken.
        with client.lock("py-lock", ttl=20) as held:
            equal(held.is_acquired(), True)


@part("etcd3gw: put, get, transactions")
def _():
    import etcd3gw

    client = etcd3gw.client(host=host, port=port, api_path="/v3/", timeout=10)
    client.put("gw/a", "1")
    equal(client.get("gw/a"), [b"1"])
    equal(client.replace("gw/a", "1", "2"), True)
    equal(client.create("gw/a", "3"), False)
    equal([value for value, _ in client.get_prefix("gw/")], [b"2"])
    equal(client.delete("gw/a"), True)
    assert client.status()["leader"], "no leader"
    assert client.members(), "no members"


@part("etcd3gw: lease, lock, watch")
def _():
    import etcd3gw

    client = etcd3gw.client(host=host, port=port, api_path="/v3/", timeout=10)
    lease = client.lease(30)
    client.put("gw-leased", "x", lease)
    equal(lease.keys(), [b"gw-leased"])
    assert 0 < lease.ttl() <= 30
    equal(lease.refresh(), 30)
    equal(lease.revoke(), True)
    with client.lock("gw-lock", ttl=20) as held:
        equal(held.is_acquired(), True)
    timer = threading.Timer(0.2, lambda: client.put("gw-watched", "1"))
    timer.start()
    event = client.watch_once("gw-watched", timeout=10)
    timer.join()
    equal(event["kv"]["value"], b"1")


sys.exit(1 if failed else 0)
