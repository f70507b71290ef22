export function BenchView() { return <h1>bench</h1> }
