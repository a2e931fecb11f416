-- rounds.sql: a loop's rounds. In: $loop_id VARCHAR. Out: rows of view loop_rounds, in order.
FROM loop_rounds
WHERE loop_id = $loop_id
ORDER BY round;
