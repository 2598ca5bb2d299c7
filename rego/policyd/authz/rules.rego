# Rules: which of them fit a request. Fields of a source are ANDed, values of a field ORed, sources ORed, and the same
# holds for permits. A field that is not said is empty and narrows nothing.
package policyd.authz

# METADATA
# description: Whether the caller is not cut off from the service. Where nothing says who is, everybody is.
spared(request) if {
	revoked := destination(request).revoked
	not request.source.spiffe in revoked
}

# METADATA
# description: Whether the rule decides, and not only observes.
enforced(candidate) if candidate.mode == "enforce"

# METADATA
# description: |
#   Whether some rule would allow the request if the observed ones were enforced: they decide beside the others, in the
#   place of those that they name. One that has ended stands for nothing any more.
would_be_allowed(request) if {
	rules := destination(request).rules
	gone := {name |
		some observed in rules
		observed.mode == "observe"
		in_force(observed)
		some name in observed.replaces
	}
	some candidate in rules
	not candidate.name in gone
	fits(candidate, request)
	token_fits(candidate, request)
}

# METADATA
# description: Whether the rule is in force and fits in everything but the token.
fits(candidate, request) if {
	some source in candidate.sources
	source_fits(source, request)
	some permit in candidate.permits
	permit_fits(permit, request)
	in_force(candidate)
}

# METADATA
# description: |
#   From the instant `expires_us` (microseconds since 1970) on, a rule allows nothing. Now is never taken as earlier
#   than the floor, so that a clock that was set back opens nothing again.
in_force(candidate) if candidate.expires_us == null

in_force(candidate) if {
	candidate.expires_us != null
	now_ns := time.now_ns()
	now_us := (now_ns - (now_ns % 1000)) / 1000
	now_us < candidate.expires_us
	floor_before(candidate.expires_us)
}

floor_before(_) if data.mesh.floor_us == null

floor_before(instant_us) if {
	data.mesh.floor_us != null
	data.mesh.floor_us < instant_us
}

# METADATA
# description: |
#   Whether the caller is one of those that the source means. A source that says nothing means nobody; one that only
#   says where from means every verified identity there, of whatever trust domain.
source_fits(source, request) if {
	says_something(source)
	identity := request.source.spiffe
	one_of(identity, source.services)
	one_of(identity, source.identities)
	begins_with_one_of(identity, source.namespaces)
	startswith(identity, source.anyone)
	comes_from_one_of(source.ip, request)
}

says_something(source) if {
	some field in ["services", "namespaces", "identities", "anyone", "ip"]
	count(source[field]) > 0
}

one_of(_, []) := true

one_of(value, values) if value in values

begins_with_one_of(_, []) := true

begins_with_one_of(text, prefixes) if {
	some prefix in prefixes
	startswith(text, prefix)
}

comes_from_one_of([], _) := true

comes_from_one_of(blocks, request) if {
	count(blocks) > 0
	peer := address(request.source.ip)
	some block in blocks
	in_block(peer, block)
}

# METADATA
# description: Whether method, port and path are among those that the permit says. `GET` is not `HEAD`.
permit_fits(permit, request) if {
	some method in [request.method, "*"]
	method in permit.methods
	one_of(called_port(request), permit.ports)
	parts := path_parts(request)
	some pattern in permit.paths
	path_fits(pattern, parts, destination(request).opaque_paths)
}

# A connection is let in by what names connections, and by nothing else: `*` is every method of a request.
permit_fits(permit, request) if {
	takes_connections(request)
	permit.methods == ["CONNECT"]
	one_of(called_port(request), permit.ports)
}

path_parts(request) := split(substring(bare_path(request), 1, -1), "/") if startswith(request.path, "/")

# METADATA
# description: |
#   Whether a path, split at its slashes, is in the set of a pattern. `null` in a pattern is one segment that is not
#   empty; `rest` is whatever follows, or nothing. Of opaque paths nothing can be told, so only `/**` holds them.
path_fits(pattern, parts, false) if {
	not pattern.rest
	count(pattern.segments) == count(parts)
	begins(pattern.segments, parts)
}

path_fits(pattern, parts, false) if {
	pattern.rest
	count(pattern.segments) <= count(parts)
	begins(pattern.segments, parts)
}

path_fits(pattern, _, true) if {
	pattern.rest
	pattern.segments == []
}

begins(segments, parts) if {
	every i, segment in segments {
		segment_fits(segment, parts[i])
	}
}

segment_fits(segment, part) if segment == part

segment_fits(null, part) if part != ""

# METADATA
# description: Whether the token of the request, if the rule asks for one, is of that issuer and has all those claims.
token_fits(candidate, _) if candidate.jwt == null

token_fits(candidate, request) if {
	candidate.jwt != null
	token_is_valid(request)
	candidate.jwt.issuer != ""
	request.jwt.issuer == candidate.jwt.issuer
	every name, values in candidate.jwt.claims {
		claim_fits(request.jwt.claims[name], values)
	}
}

token_is_valid(request) if request.jwt.state == "valid"

# A claim is a string, or a list with such a string in it.
claim_fits(claim, values) if {
	is_string(claim)
	claim in values
}

claim_fits(claim, values) if {
	is_array(claim)
	some value in claim
	value in values
}
