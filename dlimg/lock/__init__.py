"""Cells come in; the exact wheels of each come out: solved, compared, written, read.

`question` says what is asked for, `solve` asks uv, `pylock` reads its answer, `collide` compares
what the wheels hold, `lockfile` is the text of a lock, `store` the files, `walk` goes through
all of it, `check` only looks. What touches the world is handed in: running uv and asking the
index.
"""
