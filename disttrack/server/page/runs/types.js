// Shapes of what the server tells of runs (docs/api.md).

/**
 * @typedef {object} Row one run in a table
 * @property {string} run project/id
 * @property {string} id
 * @property {string} project
 * @property {string} name
 * @property {string | null} group
 * @property {string | null} job_type
 * @property {string} state
 * @property {number | null} world_size
 * @property {number} ranks_joined
 * @property {number} ranks_alive
 * @property {number} attempt
 * @property {number} created_at
 * @property {number | null} ended_at
 * @property {number | null} duration_s
 * @property {number | null} last_step
 * @property {string[]} tags
 * @property {string | null} notes
 * @property {boolean} archived
 * @property {number} damage
 * @property {number} missing_bytes
 * @property {Record<string, unknown>} values
 * @property {Record<string, {min: number, mean: number, max: number, argmax: number}>} spreads
 */

/** @typedef {{total: number, of: number, offset: number, now: number, cursor: string, rows: Row[]}} Page */

/**
 * @typedef {object} Group
 * @property {unknown[]} values
 * @property {string} filter
 * @property {number} count
 * @property {Record<string, number>} states
 * @property {string[]} runs
 * @property {Record<string, {n: number, min: unknown, mean: unknown, max: unknown}>} columns
 */

/** @typedef {{config: string[], summary: string[], metrics: string[]}} Keys */

/** @typedef {{kind: string, text: string, rank: number | null, node: string | null, skew: number | null, metric: string | null}} VerdictOf */

/**
 * @typedef {object} RankRow one rank of a run, against the others
 * @property {number} rank
 * @property {number | null} local_rank
 * @property {string | null} node
 * @property {string | null} job_type
 * @property {string} state
 * @property {number | null} last_step
 * @property {number | null} steps_behind
 * @property {number | null} last_seen_s
 * @property {number | null} median
 * @property {number | null} p95
 * @property {number | null} skew
 * @property {number | null} exit_code
 * @property {string | null} signal
 */

/** @typedef {{metric: string | null, unit: string | null, ranks: RankRow[], nodes: {node: string, ranks: number[]}[], verdict: VerdictOf, metrics: string[]}} RanksOf */

export {};
