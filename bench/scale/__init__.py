"""How the daemon bears many instruments: a loopback feed of cloned recordings, the real daemon, and what it took."""
