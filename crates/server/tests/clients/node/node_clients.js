// The main paths of Node's stock etcd client, `etcd3`, against a running member.
//
//     NODE_PATH=FOLDER/node_modules node node_clients.js HOST:PORT
//
// Exit status 0 if everything gave what a real etcd gives. A part is a line that begins with `ok` or `FAILED`.
"use strict";

const assert = require("node:assert");
const { Etcd3, EtcdLockFailedError } = require("etcd3");

const hosts = `http://${process.argv[2]}`;
const client = new Etcd3({ hosts, dialTimeout: 10000 });
let failed = 0;

async function part(name, run) {
  try {
    await run();
    console.log(`ok      node etcd3: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  node etcd3: ${name}: ${error.stack}`);
  }
}

/** What an emitter says next under a name. */
const next = (emitter, name) => new Promise((resolve, reject) => {
  emitter.once(name, resolve);
  emitter.once("error", reject);
});

async function main() {
  await part("put, get, prefixes, deletes", async () => {
    for (let i = 0; i < 3; i += 1) await client.put(`js/${i}`).value(`v${i}`);
    assert.equal(await client.get("js/1").string(), "v1");
    assert.equal(await client.get("js/none").string(), null);
    assert.deepEqual(await client.getAll().prefix("js/").strings(), { "js/0": "v0", "js/1": "v1", "js/2": "v2" });
    assert.deepEqual(await client.getAll().prefix("js/").sort("Key", "Descend").limit(1).keys(), ["js/2"]);
    assert.equal(await client.getAll().prefix("js/").count(), 3);
    const before = (await client.get("js/1").exec()).header.revision;
    const old = await client.put("js/1").value("new").getPrevious();
    assert.equal(old.value.toString(), "v1");
    assert.equal(await client.get("js/1").revision(before).string(), "v1");
    assert.equal((await client.delete().prefix("js/").exec()).deleted, "3");
    const spaced = client.namespace("space/");
    await spaced.put("a").value("1");
    assert.equal(await client.get("space/a").string(), "1");
  });

  await part("transactions", async () => {
    await client.put("txn").value("1");
    const won = await client
      .if("txn", "Value", "==", "1")
      .and("txn/none", "Version", "==", 0)
      .then(client.put("txn").value("2"))
      .else(client.get("txn"))
      .commit();
    assert.equal(won.succeeded, true);
    const lost = await client.if("txn", "Value", "==", "1").then(client.put("txn").value("3")).else(client.get("txn")).commit();
    assert.equal(lost.succeeded, false);
    assert.equal(lost.responses[0].response_range.kvs[0].value.toString(), "2");
    await client.stm().transact(async (tx) => {
      const now = await tx.get("txn").number();
      await tx.put("txn").value(now + 40);
    });
    assert.equal(await client.get("txn").number(), 42);
  });

  await part("leases", async () => {
    const lease = client.lease(30, { autoKeepAlive: false });
    await lease.put("leased").value("x");
    await lease.keepaliveOnce();
    const id = await lease.grant();
    assert.ok((await client.leaseClient.leaseTimeToLive({ ID: id, keys: true })).keys[0].equals(Buffer.from("leased")));
    await lease.revoke();
    assert.equal(await client.get("leased").string(), null);
    const kept = client.lease(5);
    await kept.grant();
    await kept.keepaliveOnce();
    kept.release();
  });

  await part("watches", async () => {
    const watcher = await client.watch().prefix("watched/").withPreviousKV().create();
    const put = next(watcher, "put");
    await client.put("watched/a").value("1");
    assert.equal((await put).value.toString(), "1");
    const gone = next(watcher, "delete");
    await client.delete().key("watched/a");
    assert.equal((await gone).key.toString(), "watched/a");
    await watcher.cancel();
    const revision = (await client.get("watched/a").exec()).header.revision;
    await client.put("watched/b").value("2");
    const late = await client.watch().key("watched/b").startRevision(String(Number(revision) + 1)).watcher();
    assert.equal((await next(late, "put")).value.toString(), "2");
    await late.cancel();
  });

  await part("locks", async () => {
    const held = await client.lock("lock").ttl(10).acquire();
    await assert.rejects(client.lock("lock").acquire(), EtcdLockFailedError);
    await held.release();
    assert.equal(await client.lock("lock").do(async () => "done"), "done");
  });

  await part("elections", async () => {
    const election = client.election("elected", 10);
    const first = election.campaign("first");
    await first.wait();
    assert.equal(await election.leader(), "first");
    const observer = await election.observe();
    assert.equal(observer.leader(), "first");
    const changed = next(observer, "change");
    const second = client.election("elected", 10).campaign("second");
    await first.resign();
    await second.wait();
    while (observer.leader() !== "second") await next(observer, "change");
    await changed;
    await observer.cancel();
    await second.resign();
  });

  await part("status, members, alarms, compaction", async () => {
    const status = await client.maintenance.status();
    assert.match(status.version, /^3\./);
    assert.ok(Number(status.dbSize) > 0);
    assert.equal((await client.cluster.memberList({})).members.length, 1);
    assert.deepEqual((await client.maintenance.alarm({ action: "Get" })).alarms, []);
    await client.maintenance.defragment();
    const now = (await client.get("any").exec()).header.revision;
    await client.kv.compact({ revision: now, physical: true });
    await assert.rejects(client.get("any").revision(1).string(), /required revision has been compacted/);
    const lost = client.watch().key("any").startRevision("1").watcher();
    const refused = new Promise((resolve) => lost.once("error", resolve));
    assert.match((await refused).message, /Watcher canceled/);
  });

  await part("users and roles", async () => {
    const root = client.role("root");
    await root.create();
    const user = client.user("root");
    await user.create("pw");
    await user.addRole("root");
    const role = client.role("reader");
    await role.create();
    await role.grant({ permission: "Readwrite", range: client.range({ prefix: "allowed/" }) });
    assert.deepEqual((await role.permissions()).map((perm) => perm.permission), ["Readwrite"]);
    await client.user("alice").create("alicepw");
    await client.user("alice").addRole(role);
    await client.auth.authEnable();
    const as = (username, password) => new Etcd3({ hosts, auth: { username, password } });
    const alice = as("alice", "alicepw");
    await alice.put("allowed/a").value("1");
    await assert.rejects(alice.put("denied").value("1"), /permission denied/);
    await assert.rejects(client.get("allowed/a").string(), /user name is empty/);
    await assert.rejects(as("alice", "wrong").get("allowed/a").string(), /invalid user ID or password/);
    const admin = as("root", "pw");
    await admin.auth.authDisable();
    for (const one of [alice, admin]) one.close();
    assert.equal(await client.get("allowed/a").string(), "1");
    for (const name of ["alice", "root"]) await client.user(name).delete();
    for (const name of ["reader", "root"]) await client.role(name).delete();
  });

  client.close();
  process.exit(failed === 0 ? 0 : 1);
}

main();
