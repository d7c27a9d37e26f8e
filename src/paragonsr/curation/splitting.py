"""Which photographs are held out for validation: whole photographs, with all that shows the same."""

from paragonsr.curation.duplicates import families, find_duplicates
from paragonsr.curation.table import Table, shuffled
from paragonsr.data.decoding import Progress, unheard
from paragonsr.errors import UserError


def hold_out(table: Table, photographs: int, seed: int, progress: Progress = unheard) -> int:
    """Divide the photographs of a table into those to train on and those to validate on.

    All tiles of a photograph, at every scale, are on one side, and so are its near-duplicates. A photograph's place in
    the order of choice depends on its name and the seed alone: more photographs later change little of the choice.

    Args:
        table: gets it in its table `photographs`.
        photographs: to hold out; a few more where the last one brings its near-duplicates.
        seed: of the choice.
        progress: of the search for near-duplicates.

    Returns:
        how many are held out.

    Raises:
        UserError: there are not more photographs than that.
    """
    find_duplicates(table, progress)
    first = families(table)
    db = table.db
    db.create_function("family", 1, lambda source: first.get(source, source), deterministic=True)
    db.create_function("drawn", 1, lambda family: shuffled(family, seed), deterministic=True)
    with table.transaction():
        db.execute("DELETE FROM photographs")
        db.execute("INSERT INTO photographs SELECT DISTINCT source, family(source), 0 FROM tiles WHERE error IS NULL")
        total = db.execute("SELECT COUNT(*) FROM photographs").fetchone()[0]
        held = 0
        drawn = "SELECT family, COUNT(*) FROM photographs GROUP BY family ORDER BY drawn(family), family"
        for family, size in db.execute(drawn).fetchall():
            if held >= photographs:
                break
            db.execute("UPDATE photographs SET held_out = 1 WHERE family = ?", [family])
            held += size
        if held >= total:
            raise UserError(
                f"{held} of {total} photographs would be held out, which leaves none to train on",
                where="photographs to hold out",
                fix="Hold out fewer.",
            )
    return int(held)
