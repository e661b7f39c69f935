"""A NATS client that is not ours finds the cluster, inspects it, commands it and asks its health.

Called with the server's URL. Prints a line of JSON for each finding; what is wrong ends it.
"""

import asyncio
import json
import sys

import nats
from nats.errors import NoRespondersError
from nats.micro.service import ServiceInfo, ServicePing, ServiceStats

LIMIT = 20


async def gather(client, subject, wanted):
    """Every answer to a question to all, until `wanted` have come."""
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)
    await client.publish(subject, b"", reply=inbox)
    found = [json.loads((await answers.next_msg(timeout=LIMIT)).data) for _ in range(wanted)]
    await answers.unsubscribe()
    return found


async def ask(client, subject, body=b""):
    return await client.request(subject, body, timeout=LIMIT)


def say(what, **found):
    print(json.dumps({"what": what, **found}), flush=True)


async def discover(client):
    pings = [ServicePing.from_dict(found) for found in await gather(client, "$SRV.PING", 2)]
    assert {ping.name for ping in pings} == {"cluster_orders"}, pings
    nodes = {ping.metadata["nodeId"]: ping.id for ping in pings}
    say("discovered", nodes=sorted(nodes))
    for node, instance in nodes.items():
        subject = f"$SRV.INFO.cluster_orders.{instance}"
        info = ServiceInfo.from_dict(json.loads((await ask(client, subject)).data))
        endpoints = {endpoint.name: endpoint.subject for endpoint in info.endpoints}
        assert endpoints["status"] == f"cluster_orders.status.{node}", endpoints
        assert endpoints["stepdown"] == f"cluster_orders.control.{node}.stepdown", endpoints
    return nodes


async def leader(client):
    for found in await gather(client, "cluster_orders.status", 2):
        if found["role"] == "PRIMARY":
            assert found["leader"] == found["nodeId"] and found["epoch"] > 0, found
            return found
    return None


async def until(look):
    for _ in range(LIMIT * 20):
        found = await look()
        if found:
            return found
        await asyncio.sleep(0.05)
    raise TimeoutError(look)


async def main(url):
    client = await nats.connect(url)
    nodes = await discover(client)

    first = await until(lambda: leader(client))
    say("leads", node=first["nodeId"])
    other = next(node for node in nodes if node != first["nodeId"])

    answer = await ask(client, f"cluster_orders.control.{other}.stepdown")
    refused = json.loads(answer.data)
    assert refused["ok"] is False and refused["leader"] == first["nodeId"], refused
    assert answer.headers["Nats-Service-Error-Code"] == "409", answer.headers
    assert answer.headers["Nats-Service-Error"] == refused["error"], answer.headers

    answer = await ask(client, f"cluster_orders.control.{first['nodeId']}.stepdown")
    assert json.loads(answer.data)["ok"] is True and not answer.headers, answer

    async def taken_over():
        found = await leader(client)
        return found if found and found["nodeId"] == other else None

    second = await until(taken_over)
    assert second["epoch"] > first["epoch"], (first, second)
    say("stepped down", node=first["nodeId"], successor=other)

    subject = f"$SRV.STATS.cluster_orders.{nodes[other]}"
    stats = ServiceStats.from_dict(json.loads((await ask(client, subject)).data))
    counts = {endpoint.name: endpoint for endpoint in stats.endpoints}
    assert counts["stepdown"].num_requests == 1 and counts["stepdown"].num_errors == 1, stats
    assert counts["stepdown"].last_error.startswith("409:"), stats
    assert counts["status-all"].num_requests >= 2 and counts["status-all"].num_errors == 0, stats
    assert counts["status"].data["terms"] == 1, stats
    say("stats", started=stats.started.isoformat())

    health = json.loads((await ask(client, f"cluster.orders.health.{other}")).data)
    assert (health["nodeId"], health["role"]) == (other, "PRIMARY"), health
    assert len(await gather(client, "cluster.orders.health", 2)) == 2
    try:
        await ask(client, "cluster.orders.health.nobody")
        raise AssertionError("nobody answered")
    except NoRespondersError:
        pass
    say("health", role=health["role"])
    await client.close()


asyncio.run(asyncio.wait_for(main(sys.argv[1]), timeout=5 * LIMIT))
