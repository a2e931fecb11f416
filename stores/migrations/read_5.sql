-- read_5.sql: the tables that schema version 6 added, shown in version 6's shape from version 5.
CREATE TEMP VIEW reviews AS
SELECT '' AS review_id, '' AS pair_id, '' AS run_id, '' AS prompt_id, '' AS reviewer, '' AS verdict,
  NULL::VARCHAR AS preferred, false AS blind, NULL::VARCHAR AS first_side, NULL::VARCHAR AS reason,
  NULL::VARCHAR AS edited_response_id, NULL::VARCHAR AS edited_pair_id, NULL::DOUBLE AS seconds,
  NULL::TIMESTAMPTZ AS reviewed_at
WHERE false;
CREATE TEMP VIEW reruns AS
SELECT '' AS rerun_id, NULL::VARCHAR AS training_run_id, NULL::VARCHAR AS run_id, '' AS outcome,
  NULL::BOOLEAN AS data_identical, NULL::VARCHAR AS first_difference, NULL::DOUBLE AS loss_difference,
  NULL::BOOLEAN AS weights_identical, NULL::DOUBLE AS weights_difference, NULL::VARCHAR AS weights_sha256,
  '{}' AS environment, NULL::VARCHAR AS reason, NULL::TIMESTAMPTZ AS started_at, NULL::TIMESTAMPTZ AS ended_at
WHERE false;
