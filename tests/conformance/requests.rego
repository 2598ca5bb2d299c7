# Many requests in one query, for the tests that compare engines.
package conformance

answers := [answer |
	some request in input.requests
	answer := data.policyd.authz with input as request
]
