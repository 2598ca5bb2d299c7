"""What an Envoy is started with: who it is, where its configuration comes from, and limits of the process."""

from __future__ import annotations

from typing import Any

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import address_pb2, backoff_pb2, base_pb2, config_source_pb2, grpc_service_pb2, protocol_pb2
from envoy.config.metrics.v3 import stats_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.type.matcher.v3 import string_pb2

from policyd.compiler.protocol import ListenAddress
from policyd.model.node import Node
from policyd_compilers.envoy.endpoints import fixed_assignment, socket_address
from policyd_compilers.envoy.proto import milliseconds, pack, seconds, struct
from policyd_compilers.envoy.render import to_yaml
from policyd_compilers.envoy.sources import ads

XDS_CLUSTER = "policyd-xds"
STATS_FLUSH_S = 1
RE2_MAX_PROGRAM_SIZE = 1_000
RETURN_AFTER_MS, RETURN_WITHIN_MS = 200, 2_000
"""Back-off (with jitter) of a lost xDS stream. Envoy's own grows to 30 s, for which a new controller would wait."""
BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000)
"""Upper bounds of the latency histograms: what a telemetry reader can tell apart."""


def bootstrap(node: Node, xds: ListenAddress, admin: ListenAddress) -> bytes:
    """The bootstrap of one sidecar, as YAML that a person can read too."""
    message = skeleton(node, admin)
    message.dynamic_resources.CopyFrom(
        bootstrap_pb2.Bootstrap.DynamicResources(
            ads_config=config_source_pb2.ApiConfigSource(
                api_type=config_source_pb2.ApiConfigSource.DELTA_GRPC,
                transport_api_version=config_source_pb2.V3,
                grpc_services=[
                    grpc_service_pb2.GrpcService(
                        envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(
                            cluster_name=XDS_CLUSTER, retry_policy=_come_back_soon()
                        )
                    )
                ],
                set_node_on_first_message_only=True,
            ),
            cds_config=ads(),
            lds_config=ads(),
        )
    )
    message.static_resources.clusters.append(_xds_cluster(xds))
    return to_yaml(message).encode()


def skeleton(node: Node, admin: ListenAddress) -> Any:
    """Everything in a bootstrap but where resources come from."""
    message = bootstrap_pb2.Bootstrap(
        node=base_pb2.Node(
            id=node.id, cluster=str(node.service), locality=base_pb2.Locality(zone=node.endpoint.zone)
        ),
        stats_flush_interval=seconds(STATS_FLUSH_S),
        stats_config=stats_pb2.StatsConfig(
            histogram_bucket_settings=[
                stats_pb2.HistogramBucketSettings(
                    match=string_pb2.StringMatcher(suffix="_time"), buckets=[float(bound) for bound in BUCKETS_MS]
                )
            ],
        ),
    )
    message.admin.address.CopyFrom(_address(admin))
    layer = bootstrap_pb2.RuntimeLayer(
        name="static",
        static_layer=struct(
            {
                "re2.max_program_size.error_level": RE2_MAX_PROGRAM_SIZE,
                "re2.max_program_size.warn_level": RE2_MAX_PROGRAM_SIZE,
            }
        ),
    )
    message.layered_runtime.layers.append(layer)
    return message


def _come_back_soon() -> Any:
    return base_pb2.RetryPolicy(
        retry_back_off=backoff_pb2.BackoffStrategy(
            base_interval=milliseconds(RETURN_AFTER_MS), max_interval=milliseconds(RETURN_WITHIN_MS)
        )
    )


def _xds_cluster(xds: ListenAddress) -> Any:
    options = http_protocol_options_pb2.HttpProtocolOptions()
    options.explicit_http_config.http2_protocol_options.connection_keepalive.CopyFrom(
        protocol_pb2.KeepaliveSettings(interval=seconds(10), timeout=seconds(5))
    )
    cluster = cluster_pb2.Cluster(
        name=XDS_CLUSTER,
        type=cluster_pb2.Cluster.STATIC,
        connect_timeout=seconds(1),
        load_assignment=fixed_assignment(XDS_CLUSTER, [_address(xds)]),
    )
    cluster.typed_extension_protocol_options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"].CopyFrom(
        pack(options)
    )
    return cluster


def _address(address: ListenAddress) -> Any:
    if address.path:
        return address_pb2.Address(pipe=address_pb2.Pipe(path=address.path, mode=0o600))
    return socket_address(address.host, address.port)
