/** What ends the program. */

/** What went wrong, as a sentence that says what to do next. */
export class Failure extends Error {
  constructor(
    message: string,
    /** Whether it may go well later, when nothing is changed here. */
    readonly mayPass: boolean,
  ) {
    super(message);
  }
}

/** The program was called in a way that it does not know. */
export class Misuse extends Error {}
