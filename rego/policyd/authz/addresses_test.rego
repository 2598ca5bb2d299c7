package policyd.authz_test

import data.policyd.authz

test_ipv4 if {
	authz.address("10.0.1.255") == "00000000000000000000ffff0a0001ff"
	authz.address("0.0.0.0") == "00000000000000000000ffff00000000"
}

test_ipv6 if {
	every text, digits in {
		"::": "00000000000000000000000000000000",
		"::1": "00000000000000000000000000000001",
		"1::": "00010000000000000000000000000000",
		"2001:DB8::a:b": "20010db80000000000000000000a000b",
		"1:2:3:4:5:6:7:8": "00010002000300040005000600070008",
		"1:2:3:4:5:6:7::": "00010002000300040005000600070000",
		"::ffff:10.0.1.255": "00000000000000000000ffff0a0001ff",
		"1:2:3:4:5:6:1.2.3.4": "00010002000300040005000601020304",
	} {
		authz.address(text) == digits
	}
}

test_what_is_no_address if {
	every text in [
		"", "1.2.3", "1.2.3.4.5", "1.2.3.4.", ".1.2.3.4", "1..2.3", "01.2.3.4", "256.1.1.1", "1.2.3.-4", "1.2.3.4 ", "0x1.2.3.4", "a.b.c.d",
		":", ":::", "1:2", "1::2::3", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "1::2:3:4:5:6:7:8", ":1::", "12345::", "g::", "::1%eth0",
		"::1.2.3", "1.2.3.4::", "::1.2.3.4:5", "[::1]", "::1/128", "::ffff:1.2.3.400",
	] {
		not authz.address(text)
	}
}

test_every_ipv4_address_is_itself_only if {
	every number in numbers.range(0, 255) {
		authz.address(sprintf("1.%d.3.4", [number])) == sprintf("00000000000000000000ffff01%02x0304", [number])
	}
}

test_a_block_of_ipv6_holds_no_ipv4 if {
	everything := ["00000000000000000000000000000000", "ffffffffffffffffffffffffffffffff"]
	authz.in_block(authz.address("2001:db8::1"), everything)
	not authz.in_block(authz.address("10.0.0.1"), everything)
}
