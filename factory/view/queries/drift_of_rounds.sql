-- What drifts over a loop's rounds.
FROM loop_rounds
ORDER BY loop_id, round;
