/** Beside the list, while no room is open. */

export function NoRoom({ hasRooms, onNewRoom }: { hasRooms: boolean; onNewRoom: () => void }) {
  return (
    <main id="main" className="no-room" tabIndex={-1} aria-label="No room is open">
      <img src="./icon.svg" alt="" width="72" height="72" />
      <h1>{hasRooms ? "Choose a room" : "Make the first room"}</h1>
      <p className="soft">All that you have read stays on this device. It opens without a network, and so does what you write.</p>
      <button type="button" className="button" onClick={onNewRoom}>
        New room
      </button>
    </main>
  );
}
