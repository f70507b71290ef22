/** Plots and the terminal write numbers alike. */
export { formatDuration, formatInteger, formatNumber } from '../../plots/format.ts'
