"""What a rule of a route does to requests besides choosing where they go: copies, faults, redirects, rewrites."""

from __future__ import annotations

import re
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.common.fault.v3 import fault_pb2 as common_fault_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.type.matcher.v3 import regex_pb2
from envoy.type.v3 import percent_pb2

from policyd.compiler.naming import pinned_cluster_name
from policyd.model.paths import EVERYTHING, PathPattern
from policyd.model.route import RouteRule
from policyd.model.route_actions import Fault, Mirror, Redirect, Rewrite
from policyd.model.service import Service
from policyd.model.ways import Known, mirrored
from policyd_compilers.envoy.proto import milliseconds, pack

FAULT = "envoy.filters.http.fault"
_Action = route_components_pb2.RouteAction


def act(route: Any, service: Service, rule: RouteRule, path: PathPattern, known: Known) -> None:
    """Add to a route that leads somewhere what else its rule asks for."""
    if rule.rewrite is not None:
        _rewrite(route.route, rule.rewrite, path)
    for mirror in rule.mirrors:
        found = mirrored(service, mirror, known)
        if found is not None:
            route.route.request_mirror_policies.append(_copy(mirror, pinned_cluster_name(*found)))
    if rule.fault is not None:
        route.typed_per_filter_config[FAULT].CopyFrom(pack(_fault(rule.fault)))


def redirect(asked: Redirect) -> Any:
    """The redirect of a route; what the rule does not say stays, and so does the query."""
    codes = {
        301: route_components_pb2.RedirectAction.MOVED_PERMANENTLY,
        302: route_components_pb2.RedirectAction.FOUND,
        303: route_components_pb2.RedirectAction.SEE_OTHER,
        307: route_components_pb2.RedirectAction.TEMPORARY_REDIRECT,
        308: route_components_pb2.RedirectAction.PERMANENT_REDIRECT,
    }
    action = route_components_pb2.RedirectAction(response_code=codes[asked.code], host_redirect=asked.host)
    if asked.scheme:
        action.scheme_redirect = asked.scheme
    if asked.path:
        action.path_redirect = asked.path
    return action


def no_fault() -> Any:
    """The filter where no rule has asked for a fault; no header of a request can either."""
    return fault_pb2.HTTPFault()


def _rewrite(action: Any, asked: Rewrite, path: PathPattern) -> None:
    if asked.host:
        action.host_rewrite_literal = asked.host
    if not asked.path:
        return
    literal = "".join(f"/{segment}" for segment in path.segments if segment is not None)
    if not path.rest:
        # The whole path is the match. A prefix cannot be said of a path with a `{name}`.
        action.regex_rewrite.CopyFrom(_regex_rewrite("^/.*$", asked.path))
    elif path == EVERYTHING:
        action.regex_rewrite.CopyFrom(_regex_rewrite("^/", asked.path if asked.path == "/" else asked.path + "/"))
    elif asked.path == "/":
        action.regex_rewrite.CopyFrom(_regex_rewrite(f"^{re.escape(literal)}/?", "/"))
    else:
        action.regex_rewrite.CopyFrom(_regex_rewrite(f"^{re.escape(literal)}", asked.path))


def _regex_rewrite(pattern: str, to: str) -> Any:
    return regex_pb2.RegexMatchAndSubstitute(pattern=regex_pb2.RegexMatcher(regex=pattern), substitution=to)


def _copy(mirror: Mirror, cluster: str) -> Any:
    return _Action.RequestMirrorPolicy(
        cluster=cluster,
        runtime_fraction=base_pb2.RuntimeFractionalPercent(default_value=_share(mirror.share)),
        disable_shadow_host_suffix_append=True,
    )


def _fault(fault: Fault) -> Any:
    message = fault_pb2.HTTPFault(disable_downstream_cluster_stats=True)
    if fault.delay_share:
        message.delay.CopyFrom(
            common_fault_pb2.FaultDelay(
                fixed_delay=milliseconds(fault.delay_ms), percentage=_share(fault.delay_share)
            )
        )
    if fault.abort_share:
        message.abort.CopyFrom(
            fault_pb2.FaultAbort(http_status=fault.abort_status, percentage=_share(fault.abort_share))
        )
    return message


def _share(points: int) -> Any:
    return percent_pb2.FractionalPercent(numerator=points, denominator=percent_pb2.FractionalPercent.TEN_THOUSAND)
