export function HeadsView() { return <h1>heads</h1> }
