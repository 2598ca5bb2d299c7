# METADATA
# title: Units
# description: Reads the scalars of intents, in whole numbers, so that every engine computes the same.
package policyd.lib.units

_milliseconds := {"ms": 1, "s": 1000, "m": 60000, "h": 3600000, "d": 86400000, "w": 604800000, "y": 31536000000}

# METADATA
# description: The milliseconds of a duration such as `600ms`, `2s` or `30d`.
duration_ms(text) := to_number(parts[1]) * _milliseconds[parts[2]] if {
	some parts in regex.find_all_string_submatch_n(`^([0-9]+)(ms|s|m|h|d|w|y)$`, text, 1)
}

# METADATA
# description: The seconds since 1970 of a date (`2027-03-31`, its first moment in UTC) or an instant with its zone.
instant_s(text) := _seconds_of_day(_captures(text)) + (_days(_captures(text)) * 86400)

_captures(text) := parts if {
	pattern := `^([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2})))?$`
	some parts in regex.find_all_string_submatch_n(pattern, text, 1)
}

# Days since 1970-01-01 in the proleptic Gregorian calendar, with years that begin in March, so that a leap day is
# the last day of its year.
_days(parts) := (((((365 * year) + floor(year / 4)) - floor(year / 100)) + floor(year / 400)) + day_of_year) - 719469 if {
	month := to_number(parts[2])
	year := to_number(parts[1]) - floor((14 - month) / 12)
	month_from_march := (month + 9) % 12
	day_of_year := floor(((153 * month_from_march) + 2) / 5) + to_number(parts[3])
}

_seconds_of_day(parts) := (((_number(parts[4]) * 3600) + (_number(parts[5]) * 60)) + _number(parts[6])) - _offset_s(parts)

_offset_s(parts) := 0 if parts[7] == ""

_offset_s(parts) := (to_number(parts[8]) * 3600) + (to_number(parts[9]) * 60) if parts[7] == "+"

_offset_s(parts) := 0 - ((to_number(parts[8]) * 3600) + (to_number(parts[9]) * 60)) if parts[7] == "-"

_number("") := 0

_number(text) := to_number(text) if text != ""

# METADATA
# description: The number before a per cent sign, `20` for `20%`.
percent(text) := to_number(trim_suffix(text, "%")) if endswith(text, "%")
