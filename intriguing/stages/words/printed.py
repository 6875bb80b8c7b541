"""What the word-vector study printed, for a side-by-side: data alone, which `words` and `report` both show.

The study trained gensim's Word2Vec with defaults on text8 and listed the top four words of the first five directions.
It does not state how its random directions were distributed; they stand here beside Gaussian ones.
"""

STUDY_ROWS: dict[tuple[str, str], tuple[str, ...]] = {
    ("raw", "natural"): (
        "million site come files",
        "wars troops border between",
        "upon reason song though",
        "stations my satellite traffic",
        "be than many pre",
    ),
    ("raw", "gaussian"): (
        "estimated age married league",
        "been worked became came",
        "ratio has estimated population",
        "did million cost saw",
        "number world man years",
    ),
    ("l2", "natural"): (
        "avanti phasing compiled interviews",
        "slavs crusaders peace syria",
        "donation reason greeson saints",
        "station flooded traffic traveling",
        "lynx bronze lighthouse celtic",
    ),
    ("l2", "gaussian"): (
        "lusthog surprise would showed",
        "happened saw exploded showed",
        "hope chances chance got",
        "flight bombers troop flew",
        "unemployed adult married females",
    ),
}
"""The study's printed rows, by condition and basis: the top words of directions 1 to 5."""
