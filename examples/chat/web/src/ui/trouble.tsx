/** What is shown when the app itself has a defect, in place of nothing. */

import { Component, type ReactNode } from "react";

export class Trouble extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state = { error: null as Error | null };

  static getDerivedStateFromError(error: Error): { error: Error } {
    return { error };
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <main className="sign-in">
        <div className="sign-in-card" role="alert">
          <h1>Something went wrong</h1>
          <p>What you have written is kept on this device. Load the chat again to go on.</p>
          <p className="fine">{error.message}</p>
          <button type="button" className="button is-primary" onClick={() => location.reload()}>
            Load again
          </button>
        </div>
      </main>
    );
  }
}
