"""What the findings of `source` mean: PD30xx."""

from __future__ import annotations

from collections.abc import Mapping

from policyd.base.codes import Explanation, table

SOURCE_CODES: Mapping[str, Explanation] = table(
    Explanation(
        "PD3001",
        "symbolic link",
        "A symbolic link lies in the watched folder. It could point out of the repository, so policyd reads neither "
        "the link nor what it points to, and does not guess. Put the file itself there.",
    ),
    Explanation(
        "PD3002",
        "submodule",
        "A submodule lies in the watched folder. Its content is in another repository with other reviewers, so it is "
        "not followed. Copy the files, or let a controller watch that repository.",
    ),
    Explanation(
        "PD3003",
        "file too large",
        "A file is larger than the controller reads (1 MiB). Intents are small: one service in a file reads best.",
    ),
    Explanation(
        "PD3004",
        "folder too large",
        "The watched folder has more files or bytes than the controller reads. Name the folder that holds the "
        "intents, not the root of a repository with everything in it.",
    ),
    Explanation(
        "PD3005",
        "file name is not UTF-8",
        "The name of a file cannot be shown or compared reliably. Rename it.",
    ),
    Explanation(
        "PD3006",
        "file name with characters that cannot be seen",
        "A line break, a control character or one that turns the direction of text makes the name look like another "
        "one, or like a finding. Rename the file.",
    ),
    Explanation(
        "PD3007",
        "path too long",
        "The path of a file is so long that no ordinary file system takes it, so that nobody who reviews it can have "
        "it before him. Nest folders less deep.",
    ),
)
