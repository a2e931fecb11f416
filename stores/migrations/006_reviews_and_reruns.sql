-- 006_reviews_and_reruns.sql: people's judgements of pairs, and repetitions of trainings and runs.
-- In: nothing.
CREATE TABLE lake.reviews (
  review_id VARCHAR NOT NULL,
  pair_id VARCHAR NOT NULL,
  run_id VARCHAR NOT NULL,
  prompt_id VARCHAR NOT NULL,
  reviewer VARCHAR NOT NULL,
  verdict VARCHAR NOT NULL,
  preferred VARCHAR,
  blind BOOLEAN NOT NULL,
  first_side VARCHAR,
  reason VARCHAR,
  edited_response_id VARCHAR,
  edited_pair_id VARCHAR,
  seconds DOUBLE,
  reviewed_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE lake.reruns (
  rerun_id VARCHAR NOT NULL,
  training_run_id VARCHAR,
  run_id VARCHAR,
  outcome VARCHAR NOT NULL,
  data_identical BOOLEAN,
  first_difference VARCHAR,
  loss_difference DOUBLE,
  weights_identical BOOLEAN,
  weights_difference DOUBLE,
  weights_sha256 VARCHAR,
  environment VARCHAR NOT NULL,
  reason VARCHAR,
  started_at TIMESTAMPTZ NOT NULL,
  ended_at TIMESTAMPTZ NOT NULL
);
