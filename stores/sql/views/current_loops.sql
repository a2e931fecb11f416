-- current_loops.sql: each loop's state: its newest event. One row per loop.
CREATE TEMP VIEW current_loops AS
SELECT DISTINCT ON (loop_id) *
FROM loops
ORDER BY loop_id, attempt DESC, ended_at DESC NULLS LAST;
