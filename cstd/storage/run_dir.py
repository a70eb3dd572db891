"""What lies where in a run directory, for those who only look for it: nothing else is imported here."""

JOURNAL_DIR = "journal"  # often a link to a directory on a disk
CODE_DIR = "code"  # compiled objects that the journal names, beside it
NONCE_FILE = "nonce"  # what the key's calls were counted to
PAPER_FILE = "paper-account.jsonl"  # the simulated account of mode paper, beside the journal
DATABASE_FILE = "ledger.db"  # beside the journal, where that really is
HANDOVER_FILE = "handover.json"  # beside the journal too: waits for its first start
TAKEN_FILE = "handover-taken.json"  # what it is called once the journal has it
MANIFEST_FILE = "backup.json"  # of a backup, beside the journal in it
LEDGER_SCHEMA = 6  # of the database, its user_version
LEDGER_BUSY_S = 5.0  # how long one waits for who writes it
