export function TrainView() { return <h1>train</h1> }
