(module
  (type $t (func (param i32) (result i32)))
  (table 4 funcref)
  (func (param i32) (result i32)
    (call_indirect (type $t) (i32.const 7) (local.get 0))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     v13 = load.i32 notrap aligned readonly can_move v0+48
;; @001f                               v3 = iconst.i32 7
;; @0023                               v4 = uextend.i64 v1
;; @0023                               v5 = load.i64 notrap aligned region1 v0+32
;; @0023                               v6 = load.i64 notrap aligned region1 v0+40
;; @0023                               v7 = icmp uge v4, v6
;; @0023                               trapnz v7, user4
;; @0023                               v8 = iconst.i64 3
;; @0023                               v9 = ishl v4, v8  ; v8 = 3
;; @0023                               v10 = iadd v5, v9
;; @0023                               v11 = select_spectre_guard v7, v5, v10
;; @0023                               v12 = load.i64 notrap aligned region1 v11
;; @0023                               v14 = load.i32 user5 aligned readonly v12+24
;; @0023                               v15 = icmp eq v14, v13
;; @0023                               trapz v15, user6
;; @0023                               v16 = load.i64 notrap aligned readonly v12
;; @0023                               v17 = load.i64 notrap aligned readonly v12+16
;; @0023                               v18 = call_indirect sig0, v16(v17, v3)  ; v3 = 7
;; @0026                               return v18
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;;   movq 8(%rdi), %r10
;;   movq (%r10), %r10
;;   addq $0x10, %r10
;;   cmpq %rsp, %r10
;;   jnbe #trap=stk_ovf
;; block0:
;;   movq 0x20(%rdi), %rax
;;   movq 0x28(%rdi), %rcx
;;   movl %esi, %edx
;;   cmpq %rcx, %rdx
;;   jnb #trap=user4
;;   leaq (%rax, %rdx, 8), %rsi
;;   cmpq %rcx, %rdx
;;   cmovaeq %rax, %rsi
;;   movq (%rsi), %rax
;;   movl 0x18(%rax), %ecx
;;   cmpl 0x30(%rdi), %ecx
;;   jnz #trap=user6
;;   movq (%rax), %rcx
;;   movq 0x10(%rax), %rdi
;;   movl $0x7, %esi
;;   call    *%rcx
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
