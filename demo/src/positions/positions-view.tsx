export function PositionsView() { return <h1>positions</h1> }
