# Requests: which have one meaning, whoever parses them, and which service they are for.
package policyd.authz

# METADATA
# description: Whether every part that must be there is there, and a string where a string is needed, a port a number.
well_formed(request) if {
	spiffe_id(request.source.spiffe)
	is_string(request.destination.service)
	is_string(request.method)
	is_string(object.get(request, "host", ""))
	is_string(request.path)
	is_whole(object.get(request.destination, "port", 0))
}

# METADATA
# description: |
#   Whether a certificate of a workload can carry it (SPIFFE-ID, X509-SVID): a trust domain in lower case, then
#   segments, none of them empty, `.` or `..`. There are no escapes, no query, and nothing behind the last segment.
spiffe_id(identity) if {
	regex.match(`^spiffe://[a-z0-9._-]+(?:/[A-Za-z0-9._-]+)+$`, identity)
	not "." in split(identity, "/")
	not ".." in split(identity, "/")
}

is_whole(value) if {
	is_number(value)
	floor(value) == value
}

# METADATA
# description: |
#   Whether the request has one meaning. Methods: RFC 9110 and RFC 5789 without TRACE, which reflects credentials, and
#   CONNECT, which opens tunnels. Paths are never normalised: they are matched as they came, or refused. Path and query
#   together are visible ASCII without `#`; more is asked of paths that rules may look at.
canonical(request) if {
	not takes_connections(request)
	request.method in {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
	canonical_host(object.get(request, "host", ""))
	regex.match(`^/[!"$-~]*$`, request.path)
	canonical_path(bare_path(request), request)
}

# A connection has no path, and no name for what it does.
canonical(request) if {
	takes_connections(request)
	request.method == "CONNECT"
	request.path == ""
	canonical_host(object.get(request, "host", ""))
}

# METADATA
# description: Whether the service takes connections (`tcp`), and no requests.
takes_connections(request) if destination(request).connections

# A name or an address. One dot at its end is no part of it, nor is a port: proxies take away what they read as a number
# of 32 bits, whatever its value. A host that is not known is taken for a good one.
canonical_host("")

canonical_host(host) if {
	regex.match(`^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?:\.?(?::\+?0*[0-9]{1,10})?|:\+?0*[0-9]{1,10}\.)$`, host)
	not beyond_any_port(host)
}

# Numbers of ten digits are in order as texts are.
beyond_any_port(host) if {
	some tail in regex.find_n(`:\+?0*[0-9]{10}\.?$`, host, 1)
	number := trim(tail, ":+.")
	substring(number, count(number) - 10, 10) > "4294967295"
}

# What a service with opaque paths carries is its own affair: no rule can tell its paths apart.
canonical_path(_, request) if destination(request).opaque_paths

# An escape is upper-case hex of a byte that needs it, and never `%2F %5C %00 %2E`: another parser may undo those.
canonical_path(path, _) if {
	regex.match(`^/(?:[A-Za-z0-9._~!$&'()*+,=:@/-]|%(?:0[1-9A-F]|1[0-9A-F]|2[0235]|3[BCEF]|5[BDE]|60|7[BCDF]|[89A-F][0-9A-F]))*$`, path)
	not contains(path, "//")
	not "." in split(path, "/")
	not ".." in split(path, "/")
}

# METADATA
# description: The path without its query, which no rule looks at.
bare_path(request) := split(request.path, "?")[0]

# METADATA
# description: The service that is called, by `name` in the namespace `default` or by `namespace/name`.
destination(request) := data.mesh.services[request.destination.service] if contains(request.destination.service, "/")

destination(request) := data.mesh.services[concat("/", ["default", request.destination.service])] if {
	not contains(request.destination.service, "/")
}

# METADATA
# description: Whether the port that was called, if it is known, is the service's.
at_its_port(request) if called_port(request) == destination(request).port

# METADATA
# description: The port that was called; where it is not known, the service's own.
called_port(request) := object.get(request.destination, "port", destination(request).port)
