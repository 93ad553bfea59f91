"""The kinds of databases, and the lock that packages above see."""

from runner.history.locks import Lock
from runner.history.postgresql import PostgresqlDatabase
from runner.history.sqlite import SqliteFile

Backend = SqliteFile | PostgresqlDatabase
RunLock = Lock
