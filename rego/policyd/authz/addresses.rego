# Addresses of peers in the form in which they are compared: 32 lower-case hex digits, IPv4 as IPv4-mapped IPv6
# (RFC 4291, section 2.5.5.2). Spelled out here, since not every engine has `net.cidr_contains`.
package policyd.authz

# METADATA
# description: |
#   Whether an address is in a block, both as hex digits. An IPv4 address is in blocks of IPv4 only, however large a
#   block of IPv6 is: `::/0` means everybody who comes by IPv6.
in_block(peer, [low, high]) if {
	low <= peer
	peer <= high
	is_ipv4(peer) == is_ipv4(low)
}

is_ipv4(digits) := startswith(digits, "00000000000000000000ffff")

# METADATA
# description: The hex digits of an address in text; undefined where the text is none, zones of IPv6 among them.
address(text) := concat("", ["00000000000000000000ffff", ipv4_digits(text)])

address(text) := concat("", [digits |
	some group in groups
	digits := substring(concat("", ["0000", group]), count(group), 4)
]) if {
	contains(text, ":")
	groups := ipv6_groups(split(without_dots(lower(text)), "::"))
	count(groups) == 8
	every group in groups {
		regex.match(`^[0-9a-f]{1,4}$`, group)
	}
}

# The eight hex digits of four decimal numbers; a leading zero could mean octal.
ipv4_digits(text) := concat("", [sprintf("%02x", [to_number(number)]) | some number in split(text, ".")]) if {
	regex.match(`^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.|$)){4}$`, text)
	not endswith(text, ".")
}

# An IPv6 address may end in the dotted form of IPv4, which stands for its last two groups.
without_dots(text) := text if not contains(text, ".")

without_dots(text) := concat("", [trim_suffix(text, tail), substring(digits, 0, 4), ":", substring(digits, 4, 4)]) if {
	contains(text, ".")
	pieces := split(text, ":")
	tail := pieces[count(pieces) - 1]
	digits := ipv4_digits(tail)
}

# What stands before and behind `::`, which is one group of zeros or more.
ipv6_groups(halves) := split(halves[0], ":") if count(halves) == 1

ipv6_groups(halves) := array.concat(array.concat(before, zeros), behind) if {
	count(halves) == 2
	before := groups_of(halves[0])
	behind := groups_of(halves[1])
	missing := (8 - count(before)) - count(behind)
	missing > 0
	zeros := array.slice(["0", "0", "0", "0", "0", "0", "0", "0"], 0, missing)
}

groups_of("") := []

groups_of(text) := split(text, ":") if text != ""
