"""What lies where in a run directory, for those who only look for it: nothing else is imported here."""

JOURNAL_DIR = "journal"  # often a link to a directory on a disk
DATABASE_FILE = "ledger.db"  # beside the journal, where that really is
