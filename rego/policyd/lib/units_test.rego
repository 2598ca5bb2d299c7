package policyd.lib.units_test

import data.policyd.lib.units

test_durations if {
	units.duration_ms("600ms") == 600
	units.duration_ms("2s") == 2000
	units.duration_ms("30d") == 2592000000
	not units.duration_ms("2 s")
}

test_instants_as_opa_reads_them if {
	every text in ["1970-01-01T00:00:00Z", "2000-02-29T23:59:59Z", "2027-03-31T12:00:00+02:00", "2100-03-01T00:00:00-11:30"] {
		units.instant_s(text) * 1000000000 == time.parse_rfc3339_ns(text)
	}
}

test_a_date_is_its_first_moment if units.instant_s("2027-03-31") == units.instant_s("2027-03-31T00:00:00Z")

test_every_month if {
	every month in numbers.range(1, 12) {
		text := sprintf("2028-%02d-28", [month])
		units.instant_s(text) * 1000000000 == time.parse_rfc3339_ns(concat("", [text, "T00:00:00Z"]))
	}
}

test_percent if {
	units.percent("20%") == 20
	not units.percent("20")
}
