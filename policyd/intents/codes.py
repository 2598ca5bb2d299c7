"""What the findings of the loader mean: `PD10xx` about YAML, `PD11xx` about the fields of an intent."""

from __future__ import annotations

from policyd.base.codes import Explanation, table

CODES = table(
    Explanation(
        "PD1001",
        "not UTF-8",
        "Intent files are UTF-8. Anything else would be read differently by the tools that review, check and "
        "compile it. Save the file as UTF-8; a byte order mark at its beginning is accepted.",
    ),
    Explanation(
        "PD1002",
        "invisible character",
        "Control characters, spaces without width and marks that reorder text on the screen let a file look "
        "different from what a program reads. A review approves what people see, so these characters are refused "
        "everywhere: in values, in comments, and written as escapes in quotes.",
    ),
    Explanation(
        "PD1003",
        "file too large",
        "A file has at most 1 MiB. It is measured before it is parsed, so that a hostile commit cannot exhaust "
        "the controller. Split large files: one service with its rules in each is what people can review.",
    ),
    Explanation(
        "PD1004",
        "nested too deep",
        "Values nest at most 64 deep; no intent needs ten. Depth is counted while the parser reports its events, "
        "before anything is built, since deep nesting crashes parsers. The rest of the file is not read.",
    ),
    Explanation(
        "PD1005",
        "not YAML",
        "The text stops being YAML here. What stands before in the same file was still read. Most often a bracket"
        " or quote is missing, a tab indents, or braces stand without quotes inside a list in brackets: a path "
        'with `{id}` is written `["/v1/orders/{id}"]` there.',
    ),
    Explanation(
        "PD1006",
        "alias or anchor",
        "Anchors (`&name`) and aliases (`*name`) say one thing at two places. A change to one silently changes "
        "the other, and nested aliases grow without bound. Write the value out where it applies. Text that begins"
        ' with `*`, such as every method, needs quotes: `["*"]`.',
    ),
    Explanation(
        "PD1007",
        "merge key",
        "The merge key `<<` is no part of YAML 1.2 and hides what a mapping says. Write the fields out.",
    ),
    Explanation(
        "PD1008",
        "tag",
        "Tags such as `!!str` or `!env` ask the parser to build something else than what is written. Values here "
        "are text, numbers, `true`, `false`, lists and mappings. To make text of a number, write it in quotes.",
    ),
    Explanation(
        "PD1009",
        "key given twice",
        "A mapping has the same key twice, and which one wins depends on the program that reads it. Keep one.",
    ),
    Explanation(
        "PD1010",
        "key is not text",
        "Keys are plain text. YAML also allows lists, mappings or nothing at all as a key; such documents cannot "
        "be carried as JSON, and mean nothing here.",
    ),
    Explanation(
        "PD1011",
        "number that cannot be carried",
        "Infinity, not-a-number, whole numbers beyond 64 bits and numbers of more than 40 digits are read "
        "differently by different programs, or by none. If it is an identifier, write it in quotes.",
    ),
    Explanation(
        "PD1012",
        "not an intent",
        "Every YAML document in the watched folders is an intent: a mapping with `apiVersion`, `kind`, `metadata`"
        " and `spec`. Dot-folders and the folder `rego/` at the root are not read.",
    ),
    Explanation(
        "PD1013",
        "exception that cannot be read",
        "A comment that begins with `policyd:` grants an exception: `# policyd: allow PD2104 until 2027-01-31 "
        "because ...`. It names one finding, the day on which it ends (UTC) and a reason. One that cannot be read"
        " would be without effect in silence, so it is an error.",
    ),
    Explanation(
        "PD1014",
        "too many findings",
        "Of one file 100 findings are shown, of all together 2,000: errors before warnings, then by place. After as "
        "many about its YAML a file is not read on. Start with the first one: the others often follow from it.",
    ),
    Explanation(
        "PD1015",
        "nothing after the colon",
        "A key stands without a value. An empty `expires:` could mean never or at once, so nothing is guessed: "
        "give it a value, or delete the key.",
    ),
    Explanation(
        "PD1101",
        "unknown apiVersion",
        "`apiVersion` names the format. Intents of policyd say `policyd.dev/v1alpha1`, objectives in OpenSLO's "
        "own format say `openslo/v1`.",
    ),
    Explanation(
        "PD1102",
        "unknown kind",
        "The format has no document of this kind. `policyd schema` lists every kind with its fields.",
    ),
    Explanation(
        "PD1103",
        "unknown field",
        "A field that no kind knows is most often a slip, and ignoring it would mean that what a person wrote "
        "does not hold. The hint names the nearest field that is known at this place.",
    ),
    Explanation(
        "PD1104",
        "something is missing",
        "A field that must be said is not. In access rules nothing is left out quietly: a rule for every path "
        'says `paths: [/**]`, one for every method says `methods: ["*"]`.',
    ),
    Explanation(
        "PD1105",
        "wrong shape",
        "Text stands where a number, a list or a mapping belongs, or the other way round. Nothing is converted: "
        "`no` is text in YAML 1.2, and `8080` in quotes is text too.",
    ),
    Explanation(
        "PD1106",
        "not one of the listed words",
        "The field takes one of a few words. The hint names the nearest, and all of them.",
    ),
    Explanation(
        "PD1107",
        "malformed name",
        "Names are DNS labels: lower-case letters, digits and `-`, at most 63, since they become parts of "
        "certificates, host names and statistics. References are `name` or `namespace/name`. Identities are whole"
        " SPIFFE IDs.",
    ),
    Explanation(
        "PD1108",
        "value that cannot be read",
        "Durations, percentages, dates and addresses have units and forms: `600ms`, `20%`, `2027-03-31`, "
        "`10.0.1.11`. A number without a unit is refused rather than guessed.",
    ),
    Explanation(
        "PD1109",
        "out of range",
        "The value can be read, and lies outside of what makes sense here.",
    ),
    Explanation(
        "PD1110",
        "malformed path",
        "Access rules have one path grammar: literal segments, `{name}` for exactly one segment, a last `/**` for"
        " the rest (`/v2/**` matches `/v2`, `/v2/` and all below, not `/v2x`). There are no regular expressions. "
        "A segment that no canonical request can have, such as `..` or an escape that is not needed, is refused "
        "as well: the rule would never match.",
    ),
    Explanation(
        "PD1111",
        "fields that exclude each other",
        "Two fields answer the same question. Keep the one that is meant.",
    ),
    Explanation(
        "PD1112",
        "defined twice",
        "Two documents of one kind have the same name in the same namespace, and none of them can be taken before"
        " the other. Both places are named.",
    ),
    Explanation(
        "PD1113",
        "namespace bound to another folder",
        "The controller's settings bind the namespace to folders, and the file lies elsewhere. Rules aim only at "
        "services of their own namespace; if any file could name any namespace, a team would open another team's "
        "service to itself by writing down that name. Move the file, or name the namespace of its folder. An intent "
        "without a namespace belongs to `default`.",
    ),
    Explanation(
        "PD1114",
        "namespace bound to no folder",
        "As soon as the controller's settings bind one namespace, all others have to be bound as well: one by one, "
        'or together as `"*"`. Else a slip in a name would make a namespace that nobody answers for.',
    ),
    Explanation(
        "PD1270",
        "a name that the settings do not know",
        "A mesh names the collector of its spans, an external host the roots of its certificate, a gateway the "
        "certificates that it shows, and the controller's settings (`collectors`, `roots`, `certificates`) say where "
        "they are: Git never says how something is reached. Name one that is there, or add it to the settings.",
    ),
    Explanation(
        "PD1281",
        "no host outside of the mesh",
        "An external host is one name, as DNS and its certificate know it. A wildcard would let a caller choose "
        "where he goes, an address has no certificate, and a name of the mesh has rules of its own.",
    ),
    Explanation(
        "PD1282",
        "an address inside",
        "Loopback and link-local addresses are the caller's own machine, and what its cloud tells it about itself, "
        "credentials included. No rule can open those.",
    ),
    Explanation(
        "PD1292",
        "no host of a gateway",
        "A listener is for names as clients write them in the TLS handshake: in lower case, without a port, or `*.` "
        "and a name for all below it. `*` alone would answer for hosts that nobody thought of, and an address is "
        "not asked for by name.",
    ),
)
