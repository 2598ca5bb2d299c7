"""What a sidecar says of itself, read without its help: parts that are not known here must not get in the way."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from envoy.config.route.v3 import route_pb2

from policyd.telemetry.running import Certificates, RunningEnvoys, read_certificates, read_routes


def test_routes_are_read_though_their_filters_are_not_known() -> None:
    config = {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": "outbound/shop/web",
        "validate_clusters": False,
        "a_field_of_tomorrow": 1,
        "virtual_hosts": [
            {
                "name": "shop/pay",
                "domains": ["pay"],
                "typed_per_filter_config": {"x": {"@type": "type.googleapis.com/of.nobody.Knows", "y": 1}},
                "routes": [
                    {
                        "name": "split",
                        "match": {"prefix": "/"},
                        "route": {"weighted_clusters": {"clusters": [{"name": "shop/pay/v1", "weight": 10_000}]}},
                    }
                ],
            }
        ],
    }
    [artifact] = read_routes({"configs": [{"route_config": config}, {"route_config": {"name": 7}}]})
    message = route_pb2.RouteConfiguration.FromString(artifact.body)
    assert (artifact.name, message.name) == ("outbound/shop/web", "outbound/shop/web")
    [cluster] = message.virtual_hosts[0].routes[0].route.weighted_clusters.clusters
    assert (cluster.name, cluster.weight.value) == ("shop/pay/v1", 10_000)


def test_the_leaf_that_ends_first_and_every_root() -> None:
    root = {"serial_number": "AB12", "expiration_time": "2028-01-01T00:00:00Z"}
    leaves = [
        {"serial_number": "1", "valid_from": "2027-01-02T00:00:00Z", "expiration_time": "2027-01-02T03:04:05Z"},
        {"serial_number": "2", "valid_from": "2027-01-01T00:00:00Z", "expiration_time": "2027-01-03T00:00:00Z"},
    ]
    pairs = [{"ca_cert": [root], "cert_chain": [leaf]} for leaf in leaves]
    began, ends = datetime(2027, 1, 2, tzinfo=UTC), datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert read_certificates({"certificates": pairs}) == Certificates(began, ends, frozenset({"ab12"}))
    assert read_certificates({"certificates": []}) is None


@pytest.mark.parametrize("address", ["unix:/nowhere/at/all.sock", "http://127.0.0.1:1"])
async def test_one_that_does_not_answer_is_left_out(address: str) -> None:
    envoys = RunningEnvoys({"n": address})
    try:
        assert await envoys.routes(["n", "unknown"]) == {}
        assert await envoys.certificates(["n"]) == {}
    finally:
        await envoys.aclose()
