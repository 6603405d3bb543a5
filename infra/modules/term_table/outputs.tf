output "stack_id" {
  description = "Id of the stack; whoever needs the table waits for it."
  value       = aws_cloudformation_stack.this.id
}
