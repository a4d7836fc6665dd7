"""What holds for all tests."""

import signal

# Started in the background of a script this process ignores Ctrl-C, and under `nohup` the end of
# its connection; so would every child of the tests that interrupt one.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
