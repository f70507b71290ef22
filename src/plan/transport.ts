/**
 * How data reaches the lanes: `local` (the calling thread works on the caller's arrays), `shared` (one shared copy of
 * what is not shared yet), `transfer` (each lane gets copies of the heads it needs).
 */
export type Transport = 'local' | 'shared' | 'transfer'
